"""The latent zero-inflated gamma model: a distribution of responses, and shared latents."""
