"""The laboratory: experiments on models that see video.

`stimuli` are what is shown, `model_responses` and `events` the responses of a model,
`tuning` what follows from them, `exciting_inputs` the search for most exciting inputs.
"""
