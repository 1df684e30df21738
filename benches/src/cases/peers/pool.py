"""Jobs in a ProcessPoolExecutor: for each line on standard input, the nanoseconds of one.

Arguments: the kind of job, how many for each measurement, and how many of them are sent at
a time.
"""

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context


def nothing(n):
    return n


def compute(n):
    end = time.thread_time_ns() + 1_000_000
    while time.thread_time_ns() < end:
        pass
    return n


def main():
    kind, count, chunk = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        for _ in sys.stdin:
            start = time.perf_counter_ns()
            if kind == "single":
                for n in range(count):
                    pool.submit(nothing, n).result()
            else:
                job = compute if kind == "compute" else nothing
                for _ in pool.map(job, range(count), chunksize=chunk):
                    pass
            print((time.perf_counter_ns() - start) // count, flush=True)


main()
