#!/bin/sh
# Ends the agent when the package goes; dpkg says remove, rpm how many are left.
set -e
case "$1" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl disable --now legate.service
	fi
	;;
esac
