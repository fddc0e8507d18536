"""Adds the experiments to the package: pyproject.toml says everything else."""

from setuptools import find_packages, setup

# In a checkout they stay at the root, where they are read and edited; in an installed jaxcap they
# lie in the package, where `--config NAME` finds them. pyproject.toml cannot say both at once.
setup(
    packages=[*find_packages(include=["jaxcap", "jaxcap.*"]), "jaxcap.experiments"],
    package_dir={"jaxcap.experiments": "experiments"},
)
