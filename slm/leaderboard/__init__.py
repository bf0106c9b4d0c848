from slm.leaderboard.render import render_leaderboard, tag_columns
from slm.leaderboard.results import is_stale, make_page, read_result, read_results

__all__ = ["is_stale", "make_page", "read_result", "read_results", "render_leaderboard", "tag_columns"]
