"""Where training frameworks meet the watch."""
