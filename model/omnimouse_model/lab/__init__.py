"""The laboratory: experiments on models that see video.

Most exciting inputs (`most_exciting`), and the responses of a model to the events of a
stimulus (`events`).
"""
