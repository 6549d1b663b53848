"""The recipe of the Debian package: `python -m deb_recipe`, or `deb_recipe.build.build` from a test.

Builds from the work tree and the lock file alone, the same bytes wherever and whenever it runs. It installs nothing.
"""
