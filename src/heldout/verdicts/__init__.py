"""Rules over history, the life of their alerts, and the decision they lead to. All pure."""
