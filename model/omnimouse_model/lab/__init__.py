"""The laboratory: experiments on models that see video.

`stimuli` are what is shown, `trial_responses` and `events` the responses of a model and
the tuning that follows, `exciting_inputs` the search for most exciting inputs.
"""
