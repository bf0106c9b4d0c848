from slm.tasks.base import Task, prompts_digest
from slm.tasks.render import Rendered, Renderer, common_length
from slm.tasks.text_to_sql import TextToSql

__all__ = ["Rendered", "Renderer", "Task", "TextToSql", "common_length", "prompts_digest"]
