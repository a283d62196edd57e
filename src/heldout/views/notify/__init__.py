"""Messages about a run's alerts, sent where the user looks: chat, e-mail, webhooks, the desktop."""
