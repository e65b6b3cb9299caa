"""The web side of a node, for people and programs of its operator: plain twisted.web resources.

Read `site` first: every request passes its `Guard`, and its bounds, before any page sees it.
"""
