"""What a job will cost, from its configuration, its rows and its store."""

from __future__ import annotations

import pytest

from actors.core.limits.token_estimate import text_tokens
from actors.core.messages.tasks import Task, TaskState
from actors.core.messages.values import Usage
from actors.core.task.attachments import IMAGE_TOKENS
from cluster.assembly.actor_settings import asked_forms
from cluster.config.llm import LLMSimulatorSettings
from cluster.config.model import HeadraceConfig, load
from cluster.estimate.job import estimate_job, sample_of
from tests.unit.support.computed_steps import Words
from tests.unit.support.stored_run import StoredRun

RUN = "map-1"
PRICE = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 10.0}
ENDPOINT = {"name": "e", "base_url": "http://127.0.0.1:1/v1", "model": "m", "price": PRICE}
LABEL = {"label": {"type": "string", "choices": ["good", "bad"]}}


def config(**changes):
    endpoint = {**ENDPOINT, **changes.pop("endpoint", {})}
    return HeadraceConfig.model_validate(
        {
            "llm": {"endpoints": (endpoint,), "cache": True},
            "evaluate": {"prompt": "Rate {text}", "output": LABEL, "max_tokens": 50},
            **changes,
        }
    )


STEPS = (
    {"name": "triage", "prompt": "Rate {text}", "output": LABEL, "max_tokens": 50},
    {
        "name": "verdict",
        "prompt": "Judge {text}, which is {triage.label}",
        "when": "triage.label == 'bad'",
        "output": {"why": {"type": "string"}},
        "max_tokens": 300,
    },
)


def rows(count, text="row {}"):
    return [Task(f"r{number}", {"text": text.format(number)}) for number in range(count)]


def test_the_input_is_counted_over_all_rows_with_what_the_form_adds():
    job = config()
    found = estimate_job(job, rows(100))
    each = sum(text_tokens(f"Rate row {number}") for number in range(100))
    assert found.input_tokens.low == found.input_tokens.high == each + 100 * asked_forms(job)[0].tokens
    assert found.rows.low == found.todo.low == 100


def test_it_is_said_that_the_reasoning_of_a_model_is_paid_as_output():
    notes = estimate_job(
        config(endpoint={"max_tokens": 4000}, evaluate={"prompt": "Rate {text}", "output": LABEL}), rows(9)
    ).notes
    assert notes == ("the reasoning of m is output, which max_tokens bounds with the answer: 4,000",)
    assert estimate_job(config(), rows(9)).notes == ()


def test_the_output_lies_between_the_shortest_answer_and_max_tokens():
    found = estimate_job(config(), rows(100))
    assert found.output_tokens.mid is None
    assert found.output_tokens.high == 100 * 50
    assert 100 <= found.output_tokens.low <= 100 * text_tokens('{"label":"bad"}')


def test_the_cost_lies_between_the_prices_of_these_bounds():
    found = estimate_job(config(), rows(100))
    assert found.usd.low == pytest.approx((found.input_tokens.low + 10 * found.output_tokens.low) / 1e6)
    assert found.usd.high == pytest.approx((found.input_tokens.high + 10 * found.output_tokens.high) / 1e6)


def test_equal_rows_are_counted_once():
    found = estimate_job(config(), rows(100, text="the same"))
    assert (found.rows.low, found.different.low, found.todo.low) == (100, 1, 1)


def test_files_are_counted_and_tell_equal_prompts_apart():
    asked = {"prompt": "Rate this", "attach": "photo", "output": LABEL, "max_tokens": 50}
    job = config(evaluate=asked)
    tasks = [Task(f"r{number}", {"photo": f"{number // 2}.png"}) for number in range(4)]
    run = StoredRun(job)
    run.answer(tasks[0], Usage(1500, 5, 0.01))

    found, again = estimate_job(job, tasks), estimate_job(job, tasks, store=run.store)

    assert (found.different.low, found.todo.low, again.todo.low) == (2, 2, 1)
    assert found.input_tokens.low > 2 * IMAGE_TOKENS


def test_a_row_without_a_value_that_the_prompt_needs_is_not_asked():
    found = estimate_job(config(), [*rows(3), Task("r9", {"text": None})])
    assert (found.rows.low, found.todo.low) == (4, 3)
    assert found.notes == ("1 row is skipped: a value that the prompt needs is null",)


def test_answers_in_the_store_are_subtracted_for_rows_with_other_keys_too():
    job = config()
    run = StoredRun(job)
    run.answer(rows(1)[0], Usage(20, 5, 0.01))
    renamed = [Task(f"other-{task.key}", task.params) for task in rows(10)]
    found = estimate_job(job, renamed, store=run.store)
    assert (found.answered.low, found.todo.low) == (1, 9)


def test_answers_of_the_simulator_are_found_before_it_is_started():
    addressed = LLMSimulatorSettings().endpoint("http://127.0.0.1:5123/v1")
    run = StoredRun(config(llm={"endpoints": (addressed,), "cache": True}))
    run.answer(rows(1)[0], Usage(20, 5, 0.0))
    assert estimate_job(config(llm={"cache": True}), rows(10), store=run.store).todo.low == 9


def test_without_a_shared_cache_only_the_run_s_own_tasks_are_answered():
    job = config(llm={"endpoints": (ENDPOINT,)})
    run = StoredRun(job)
    run.answer(rows(1)[0], Usage(20, 5, 0.01))
    assert estimate_job(job, rows(10), store=run.store).todo.low == 10
    assert estimate_job(job, rows(10), store=run.store, run_id=RUN).todo.low == 9


def test_a_task_that_failed_is_to_do_again():
    job = config(llm={"endpoints": (ENDPOINT,)})
    run = StoredRun(job)
    run.answer(rows(1)[0], state=TaskState.FAILED)
    assert estimate_job(job, rows(10), store=run.store, run_id=RUN).todo.low == 10


def test_when_every_row_is_answered_nothing_is_left():
    job = config()
    run = StoredRun(job)
    for task in rows(3):
        run.answer(task, Usage(20, 5, 0.01))
    found = estimate_job(job, rows(3), store=run.store, run_id=RUN)
    assert (found.todo.low, found.usd.high, found.seconds.high, found.tokens.high) == (0, 0, 0, 0)
    assert not found.wants_consent


def test_an_endpoint_without_a_price_has_no_cost_but_its_tokens_are_known():
    endpoint = {key: value for key, value in ENDPOINT.items() if key != "price"}
    found = estimate_job(config(llm={"endpoints": (endpoint,)}), rows(10))
    assert found.usd.high is None
    assert "no price is known for e (model " in found.usd.basis
    assert found.output_tokens.high == 500
    assert "budget" not in found.usd.basis
    free = ENDPOINT | {"price": {"input_usd_per_mtok": 0}}
    assert estimate_job(config(llm={"endpoints": (free,)}), rows(10)).usd.high == 0


def test_the_simulator_costs_nothing():
    assert estimate_job(config(llm={"cache": True}), rows(10)).usd.high == 0


def test_a_rate_of_the_configuration_bounds_the_time_from_below():
    found = estimate_job(config(endpoint={"requests_per_minute": 60.0}), rows(120))
    assert (found.seconds.low, found.seconds.high) == (120, None)
    assert "requests a minute" in found.seconds.basis


def test_a_stored_answer_decides_whether_the_next_step_is_asked_and_makes_its_prompt():
    job, tasks = config(evaluate=STEPS), rows(3)
    run = StoredRun(job)
    run.answer(tasks[0], Usage(20, 5, 0.01))
    run.answer(tasks[1], Usage(20, 5, 0.01), Usage(30, 9, 0.02))
    found = estimate_job(job, tasks, store=run.store)
    assert found.todo.low == 2  # the second step of the first row, and the third row
    good = config(evaluate=({**STEPS[0]}, {**STEPS[1], "when": "label == 'good'"}))
    assert estimate_job(good, tasks, store=run.store).todo.low == 1


def test_a_step_with_a_condition_is_asked_about_no_row_or_about_all():
    found = estimate_job(config(evaluate=STEPS), rows(10))
    assert found.input_tokens.low < found.input_tokens.high
    judged = asked_forms(config(evaluate=STEPS))[1].tokens + text_tokens("Judge row 1, which is ") + 50
    assert found.input_tokens.high - found.input_tokens.low == 10 * judged
    assert found.output_tokens.high == 10 * (50 + 300)


def test_the_tasks_of_sources_are_counted_and_what_they_ask_is_unknown():
    job = config(
        sources=({"kind": "simulated", "name": "wire"},),
        evaluate={"prompt": "Rate {text}", "output": {"score": {"type": "number", "min": 0, "max": 1}}},
        dimensions=({"name": "score", "field": "score"},),
    )
    found = estimate_job(job, rows(10))
    assert (found.todo.low, found.usd.high, found.input_tokens.high) == (10, None, None)
    assert "--sample" in found.usd.basis


def test_a_sample_is_drawn_at_random_and_not_from_the_beginning():
    drawn = sample_of(config(), rows(1000), sample=30, seed=4)
    keys = [row.task.key for row in drawn]
    assert [row.place for row in drawn] == [int(key[1:]) for key in keys]
    assert len(set(keys)) == 30
    assert keys != [f"r{number}" for number in range(30)]
    assert drawn == sample_of(config(), rows(1000), sample=30, seed=4)


def sampled(job, tasks, usage_of):
    """Return the estimate after the run has ended a sample of 30 rows."""
    run = StoredRun(job)
    for row in sample_of(job, tasks):
        run.answer(row.task, *usage_of(row.task))
    run.close()
    return estimate_job(job, tasks, store=run.store, run_id=RUN)


def test_after_a_sample_the_figures_rest_on_what_its_rows_cost():
    job, tasks = config(), rows(1000)
    found = sampled(job, tasks, lambda task: (Usage(60, 10, 0.00016),))
    assert found.todo.low == 970
    assert found.output_tokens.low == found.output_tokens.mid == 9_700
    assert found.usd.mid == pytest.approx(970 * 0.00016, rel=0.01)
    assert found.usd.at_most == pytest.approx(
        (970 * 50 * 10 + estimate_job(job, tasks).input_tokens.low * 0.97) / 1e6, rel=0.01
    )
    assert "30 random rows" in found.usd.basis
    assert "$0.004800 spent so far" in found.usd.basis


def test_an_endpoint_that_counts_more_input_than_the_text_has_raises_every_bound():
    """Endpoints add instructions of their own. The bound from the text alone would cut off what is true."""
    job, tasks = config(), rows(1000)
    counted = estimate_job(job, tasks).input_tokens.low / 1000
    reported = Usage(int(30 * counted), 2, 30 * counted / 1e6)
    found = sampled(job, tasks, lambda task: (reported,))
    assert found.usd.low <= 970 * reported.cost_usd <= found.usd.high <= found.usd.at_most


def test_max_tokens_bounds_nothing_where_an_endpoint_exceeds_it():
    """Some endpoints bill the tokens of a model's reasoning beyond the bound of the answer."""
    found = sampled(config(), rows(1000), lambda task: (Usage(60, 400, 0.004),))
    assert found.output_tokens.mid == 970 * 400
    assert found.output_tokens.high >= 970 * 400
    assert found.usd.at_most is None


def test_the_interval_of_answers_of_different_length_holds_their_mean():
    tasks = rows(1000)
    lengths = {task.key: 5 + int(task.key[1:]) % 40 for task in tasks}
    found = sampled(config(), tasks, lambda task: (Usage(60, lengths[task.key], 0.0),))
    assert found.output_tokens.low < sum(lengths.values()) < found.output_tokens.high
    assert found.output_tokens.low > 0.6 * sum(lengths.values())


def test_a_sample_measures_the_latency_and_so_the_time():
    found = sampled(config(), rows(1000), lambda task: (Usage(60, 10, 0.0),))
    assert found.seconds.high is not None
    assert found.seconds.low > 0
    assert "latency" in found.seconds.basis


def test_a_step_that_no_sampled_row_was_asked_widens_the_interval():
    job, tasks = config(evaluate=STEPS), rows(1000)
    without = sampled(config(), tasks, lambda task: (Usage(60, 10, 0.00016),))
    found = sampled(job, tasks, lambda task: (Usage(60, 10, 0.00016),))
    assert found.output_tokens.high > without.output_tokens.high + 100 * 300
    assert found.notes == ("no sampled row was asked step verdict: the upper bounds allow for it",)


def test_a_sample_that_the_run_has_not_ended_is_no_sample():
    job, tasks = config(), rows(1000)
    run = StoredRun(job)
    for row in sample_of(job, tasks)[:20]:
        run.answer(row.task, Usage(60, 10, 0.00016))
    assert estimate_job(job, tasks, store=run.store, run_id=RUN).usd.mid is None


def test_few_rows_are_called_a_rough_sample():
    job, tasks = config(), rows(1000)
    run = StoredRun(job, origin={"sample": {"size": 10, "seed": 3}})
    for row in sample_of(job, tasks, sample=10, seed=3):
        run.answer(row.task, Usage(60, 10, 0.00016))
    found = estimate_job(job, tasks, store=run.store, run_id=RUN)
    assert "only 10 random rows: rough" in found.usd.basis


def test_a_large_job_wants_consent():
    assert estimate_job(config(), rows(1001)).wants_consent
    assert not estimate_job(config(), rows(100)).wants_consent
    dear = {"price": {"input_usd_per_mtok": 100.0, "output_usd_per_mtok": 1000.0}}
    assert estimate_job(config(endpoint=dear), rows(100)).wants_consent


def test_the_lines_show_what_each_figure_rests_on():
    shown = str(estimate_job(config(), rows(2000)))
    assert shown.startswith("2,000 rows · 2,000 to do\ninput ")
    assert "counted over all rows" in shown
    assert "max_tokens" in shown
    assert "cost " in shown


def test_computed_fields_count_in_the_prompts_that_use_them_and_cost_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("cluster.config.kinds.plugins.plugin_class", lambda *_: Words)
    (tmp_path / "job.yaml").write_text(
        "evaluate:\n"
        "  - {name: words, kind: words}\n"
        "  - {name: judge, when: 'count > 1', prompt: 'Is {words.count} much?', output: {note: str}}\n"
    )
    config = load(tmp_path / "job.yaml", env={})
    texts = ("a", "a b", "c d", "a b c", None)  # one short, two equal questions, one that fails
    found = estimate_job(config, [Task(f"t{n}", {"text": text}) for n, text in enumerate(texts)])
    assert (found.rows.high, found.todo.high) == (5, 2)
