"""The version: the one place that says it, for the package as for the running agent.

Asking the installed package's metadata instead would cost a daemon 0.7 MB for its parsers of mail headers and archives.
"""

VERSION = "0.1.0"
