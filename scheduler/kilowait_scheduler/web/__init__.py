"""The pages under `/`: what is going on, in a browser, for people with a token.

Pages only look; commands are the command line's and the API's. Everything is made on the server: no script, no code of
others. `session` says who may look, `overview` and `job` gather what a page shows, `pages` holds the routes.
"""
