"""What breaks between a tap and the cloud: outbox, network, broker, identity."""

from tests.diag.faults.base import Fault

FAULTS: tuple[Fault, ...] = ()
