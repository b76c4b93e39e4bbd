#!/bin/sh
# What guest-shutdown runs.
case " $* " in *" -r "*) exec reboot -f ;; *) exec poweroff -f ;; esac
