"""The small guest: a bootable disk image of Debian's kernel, busybox and dropbear (docs/guest-image.md)."""
