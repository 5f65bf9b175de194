"""The fleet model again, as slowly and plainly as it can be said: one step at a time, one object a request."""

from dataclasses import dataclass, field

from scaler.sim.latency import Engine
from scaler.sim.trace import Trace


@dataclass(kw_only=True)
class Job:
    """One request; times are picoseconds."""

    arrival_ps: int
    prompt: int
    output: int
    unread: int  # prompt tokens that no step has taken
    written: int = 0
    start_ps: int | None = None
    first_ps: int | None = None
    finish_ps: int | None = None

    @property
    def resident(self) -> int:
        return self.prompt + self.written - 1 if self.written else self.prompt - self.unread


@dataclass(kw_only=True)
class Server:
    """One replica. ``admitted`` are the jobs of the queue that have been let in, its first ones."""

    engine: Engine
    now_ps: int = 0
    queue: list[Job] = field(default_factory=list)
    admitted: int = 0
    running: list[Job] = field(default_factory=list)
    end_ps: int | None = None
    taken: int = 0
    prompt_tokens: int = 0
    generation_tokens: int = 0
    steps: int = 0
    most_resident: int = 0

    def run(self, until_ps: int) -> None:
        while True:
            if self.end_ps is None and (not (self.queue or self.running) or self.now_ps >= until_ps):
                return
            if self.end_ps is None:
                self.begin()
            if self.end_ps is None or self.end_ps > until_ps:
                return
            self.end()

    def begin(self) -> None:
        engine, batch = self.engine, len(self.running)
        resident = sum(job.resident for job in self.running)
        cost_ms = engine.alpha_ms + engine.beta_ms * batch + engine.kappa_ms * resident / 1000
        self.taken = 0
        for place, job in enumerate(self.queue):
            if self.taken == engine.chunk_tokens:
                break
            if place >= self.admitted:
                if not self.may_admit(job):
                    break
                self.admitted += 1
                job.start_ps = self.now_ps
            part = min(job.unread, engine.chunk_tokens - self.taken)
            job.unread -= part
            self.taken += part
        floor_ms = cost_ms if self.running else engine.gamma_ms
        self.end_ps = self.now_ps + round((floor_ms + engine.delta_ms * self.taken) * 1e9)

    def may_admit(self, candidate: Job) -> bool:
        if len(self.running) + self.admitted >= self.engine.max_seqs:
            return False
        pending = sum(job.prompt + job.output for job in [*self.queue[: self.admitted], candidate])
        longest = max((job.output - job.written for job in self.running), default=0)
        peak = max(
            (
                sum(job.resident + ahead for job in self.running if job.output - job.written >= ahead)
                for ahead in range(longest + 1)
            ),
            default=0,
        )
        return peak + pending <= self.engine.kv_tokens

    def end(self) -> None:
        assert self.end_ps is not None
        self.now_ps, self.end_ps = self.end_ps, None
        self.steps += 1
        self.prompt_tokens += self.taken
        done = [job for job in self.queue if job.unread == 0]
        self.queue = [job for job in self.queue if job.unread > 0]
        self.admitted -= len(done)
        self.running += done
        for job in self.running:
            job.written += 1
            self.generation_tokens += 1
            job.first_ps = self.now_ps if job.first_ps is None else job.first_ps
            if job.written == job.output:
                job.finish_ps = self.now_ps
        self.most_resident = max(self.most_resident, sum(job.resident for job in [*self.running, *self.queue]))
        self.running = [job for job in self.running if job.finish_ps is None]


def served(trace: Trace, engine: Engine, servers: int, until_ps: int) -> tuple[list[Job], list[Server]]:
    """What becomes of the trace on so many replicas until then."""
    pool = [Server(engine=engine) for _ in range(servers)]
    jobs = []
    rows = zip(trace.arrival_s, trace.prompt_tokens, trace.output_tokens, strict=True)
    for arrival_s, prompt, output in rows:
        arrival_ps = round(float(arrival_s) * 1e9) * 1000
        if arrival_ps > until_ps:
            break
        job = Job(arrival_ps=arrival_ps, prompt=int(prompt), output=int(output), unread=int(prompt))
        jobs.append(job)
        for server in pool:
            server.run(arrival_ps)
        chosen = min(pool, key=lambda server: len(server.queue) + len(server.running))
        if not chosen.queue and not chosen.running:
            chosen.now_ps = arrival_ps
        chosen.queue.append(job)
    for server in pool:
        server.run(until_ps)
    return jobs, pool
