"""Programs that use the tasks: the command line (`cli`), whole training runs (`runs`), text files (`files`)."""
