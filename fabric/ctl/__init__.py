"""fabricctl: brings up, watches over and takes down the processes of one machine."""
