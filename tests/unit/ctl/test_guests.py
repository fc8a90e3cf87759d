"""How guests are made to end before their machine does."""

from agents.compute.domain import mark_xml
from agents.compute.driver import Marks
from fabric.ctl.guests import Guests
from fabric.ctl.progress import Progress


class Booting:
    """A libvirt domain whose guest hears the power button from the second time on; it is its own connection."""

    def __init__(self) -> None:
        self.pressed = 0
        self.destroyed = False

    def listAllDomains(self) -> list["Booting"]:
        return [self]

    def metadata(self, *_: object) -> str:
        return mark_xml("node1", Marks())

    def isActive(self) -> bool:
        return self.pressed < 2 and not self.destroyed

    def XMLDesc(self) -> str:
        return f"<domain><metadata>{self.metadata()}</metadata></domain>"

    def setMetadata(self, *_: object) -> None:
        pass

    def shutdown(self) -> None:
        self.pressed += 1

    def destroy(self) -> None:
        self.destroyed = True


def test_a_guest_that_is_still_booting_is_asked_again() -> None:
    guest = Booting()
    Guests(guest).shut_down(30, Progress(), press_every_s=0.2)
    assert (guest.pressed, guest.destroyed) == (2, False)
