"""The bottom layer, used by every stage: errors, configuration, durable files, progress, command lines."""
