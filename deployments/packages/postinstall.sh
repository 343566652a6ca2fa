#!/bin/sh
# Makes the user and its folders. The agent is not started: it wants a configuration.
# One that runs goes on with the program it has: servers are restarted one by one, by
# whoever looks after all of them.
set -e
systemd-sysusers legate.conf
systemd-tmpfiles --create legate.conf
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
