from slm.leaderboard.render import render_leaderboard, tag_columns
from slm.leaderboard.results import is_stale, read_result, read_results

__all__ = ["is_stale", "read_result", "read_results", "render_leaderboard", "tag_columns"]
