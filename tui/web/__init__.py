"""The console in browsers; needs the optional packages of `frostwatch[web]`."""
