"""A run's report: one HTML file that holds everything it shows, readable anywhere and without a
network.
"""

from jaxcap.report.gallery import Photo as Photo
from jaxcap.report.page import write as write
