"""Parts that several families share: fits, ridges and motion energy."""
