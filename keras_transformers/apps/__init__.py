"""Programs over the tasks: the command line (`cli`), whole runs (`runs`), files line by line (`files`)."""
