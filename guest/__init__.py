"""A small guest: a bootable disk image made of Debian's kernel, busybox and dropbear (docs/guest-image.md)."""
