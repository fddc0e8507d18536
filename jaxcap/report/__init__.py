"""A run's report: one HTML file that holds everything it shows and needs no network."""

from jaxcap.report.gallery import CaptionedPhoto as CaptionedPhoto
from jaxcap.report.page import write as write
