"""The robot's local face: what people at the robot see and may do, with no hub at all.

`status` puts together what there is to see, `door` is a Unix socket for the `botyard-edge` command, `http` and `page`
are a page on loopback for a browser, and `screen` and `watching` show the status on a terminal.
"""
