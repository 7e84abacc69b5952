"""What a service of ours is made of: settings, commands, database, threads, periodic work."""
