"""Public names of `omnimouse_widgets.figures`, by the module that defines them."""

from .behavior import decoding_figure as decoding_figure
from .neurons import direction_figure as direction_figure
from .neurons import direction_map_figure as direction_map_figure
from .neurons import exciting_figure as exciting_figure
from .neurons import score_histogram as score_histogram
from .neurons import score_scatter as score_scatter
from .ranking import pretrain_figure as pretrain_figure
from .ranking import ranking_figure as ranking_figure
from .scaling import finetune_figure as finetune_figure
from .scaling import scaling_figure as scaling_figure
from .sources import areas_figure as areas_figure
from .sources import informants_figure as informants_figure
from .sources import source_bars_figure as source_bars_figure
from .sources import sources_figure as sources_figure
from .sweep import context_grid_figure as context_grid_figure
from .sweep import context_sweep_figure as context_sweep_figure
from .task_table import TaskTable as TaskTable
from .task_table import task_table as task_table
