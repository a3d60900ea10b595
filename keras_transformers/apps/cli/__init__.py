"""The command line. Each command is a file; `app` puts them together."""
