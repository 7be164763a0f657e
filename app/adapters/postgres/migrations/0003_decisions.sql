-- Append rows of the decisions log under its lock (open_decisions took it in this transaction).
create function append_decisions(
    p_project integer, p_head bigint, p_spool text, p_last_sequence bigint, p_at_us bigint, p_task text,
    d_first bigint[], d_count bigint[], d_first_at bigint[], d_last_at bigint[], d_agents text[], d_verdicts text[],
    d_payload bytea[], d_digest bytea[], d_hash bytea[]
) returns bigint language plpgsql as $$
declare n integer := cardinality(d_first);
begin
    insert into decision_events
    select p_project, p_head + k.nr, p_spool, k.first, k.count, p_at_us, k.first_at, k.last_at, p_task,
        string_to_array(k.agents, E'\x1f'), string_to_array(k.verdicts, E'\x1f'), 'zstd', k.payload, k.digest, k.hash
    from unnest(d_first, d_count, d_first_at, d_last_at, d_agents, d_verdicts, d_payload, d_digest, d_hash)
        with ordinality as k (first, count, first_at, last_at, agents, verdicts, payload, digest, hash, nr);
    update log_heads set position = p_head + n, hash = d_hash[n], recorded_at_us = p_at_us
        where project = p_project and log = 'decisions';
    insert into spools (project, spool, last_sequence) values (p_project, p_spool, p_last_sequence)
        on conflict (project, spool) do update set last_sequence = excluded.last_sequence;
    return p_head + n;
end $$;
