"""What breaks between the terminal and its readers and screens."""

from tests.diag.faults.base import Fault

FAULTS: tuple[Fault, ...] = ()
