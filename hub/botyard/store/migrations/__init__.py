"""Made with Tortoise (`make migrations` in CONTRIBUTING says how); never edited once released."""
