"""Programs compiled for devices that need not be there, and what the compiler says about them."""
