"""One plain get_config() per experiment."""
