"""The small architecture of the tests; knows no test, so that processes start fast."""

from omnimouse_model.families.omnimouse.config import HieraConfig, OmniMouseConfig

SMALL = OmniMouseConfig(
    d_model=32,
    num_heads=2,
    num_layers=2,
    local_to_global_ratio=(1, 1),
    d_embedding=16,
    num_response_latent_groups=4,
    num_global_latents=4,
    softplus_beta=1.0,
    hidden_video="blank",
    ideal_times=True,
    max_recording_len_s=60,
    hiera=HieraConfig(
        embed_dim=16,
        num_heads=1,
        stages=(1, 1),
        patch_stride=(2, 4, 4),
        windows="spatial",
    ),
)
