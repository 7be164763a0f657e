-- The one call that appends to the files log. An earlier shape of it, from before the first release, is dropped.
do $$
declare old regprocedure;
begin
    for old in select oid::regprocedure from pg_proc where proname = 'append_files' and pronamespace = 'public'::regnamespace loop
        execute 'drop function ' || old;
    end loop;
end $$;

-- Append a folded batch, if the log and the incarnation still stand where the folding began.
-- 'ok', or why nothing was done: 'missing' (a chunk of p_chunks), 'busy' (another appends), 'moved', 'sequence', 'clock'.
create function append_files(
    p_project integer, p_head bigint, p_head_hash bytea, p_incarnation bigint, p_first_sequence bigint, p_at_us bigint,
    p_task text, p_last_inode bigint, p_chunks bytea[],
    k_hash bytea[], k_size bigint[], k_encoding text[], k_data bytea[],
    e_at bigint[], e_inode bigint[], e_kind text[], e_agent text[], e_session text[], e_tool text[], e_decision text[],
    e_path bytea[], e_outcome bytea[], e_payload bytea[], e_digest bytea[], e_hash bytea[],
    n_inode bigint[], n_since bigint[], n_node bytea[], n_gone bigint[],
    np_inode bigint[], np_since bigint[], np_until bigint[], np_node bytea[],
    d_parent bigint[], d_name bytea[], d_inode bigint[], d_since bigint[], dg_parent bigint[], dg_name bytea[],
    dp_parent bigint[], dp_name bytea[], dp_inode bigint[], dp_since bigint[], dp_until bigint[],
    cg_inode bigint[], cg_index bigint[], cg_until bigint[], ct_inode bigint[], ct_first bigint[], ct_end bigint[], ct_until bigint[],
    c_inode bigint[], c_index bigint[], c_hash bytea[], c_size bigint[], c_since bigint[],
    cp_inode bigint[], cp_index bigint[], cp_hash bytea[], cp_size bigint[], cp_since bigint[], cp_until bigint[],
    a_inode bigint[], a_target bigint[], a_since bigint[]
) returns text language plpgsql as $$
declare
    n integer := cardinality(e_at);
    clock bigint;
begin
    if cardinality(k_hash) > 0 then perform put_chunks(p_project, k_hash, k_size::integer[], k_encoding, k_data); end if;
    if cardinality(p_chunks) > 0 and cardinality(missing_chunks(p_project, p_chunks)) > 0 then return 'missing'; end if;
    if not pg_try_advisory_xact_lock(p_project, 1) then return 'busy'; end if;
    clock := extract(epoch from clock_timestamp()) * 1000000;
    if p_at_us not between clock - 5000000 and clock + 1000000 and not exists (
        select 1 from log_heads where project = p_project and log = 'files' and recorded_at_us = p_at_us
    ) then return 'clock'; end if;
    update incarnations set last_sequence = p_first_sequence + n - 1, last_inode = greatest(last_inode, p_last_inode)
        where project = p_project and incarnation = p_incarnation and last_sequence = p_first_sequence - 1;
    if not found then return 'sequence'; end if;
    update log_heads set position = p_head + n, hash = e_hash[n], recorded_at_us = p_at_us
        where project = p_project and log = 'files' and position = p_head and hash = p_head_hash
        and recorded_at_us <= p_at_us;
    if not found then
        update incarnations set last_sequence = p_first_sequence - 1
            where project = p_project and incarnation = p_incarnation;
        return 'moved';
    end if;
    insert into file_events
    select p_project, p_head + k.nr, p_incarnation, p_first_sequence + k.nr - 1, p_at_us, k.at, k.inode, k.kind, k.agent,
        k.session, k.tool, k.decision, p_task, k.path, nullif(k.outcome, ''::bytea), k.payload, k.digest, k.hash
    from unnest(e_at, e_inode, e_kind, e_agent, e_session, e_tool, e_decision, e_path, e_outcome, e_payload, e_digest, e_hash)
        with ordinality as k (at, inode, kind, agent, session, tool, decision, path, outcome, payload, digest, hash, nr);
    if cardinality(np_inode) > 0 then
        insert into inodes_past select p_project, * from unnest(np_inode, np_since, np_until, np_node);
    end if;
    if cardinality(n_gone) > 0 then
        delete from inodes i using unnest(n_gone) as k (inode) where i.project = p_project and i.inode = k.inode;
    end if;
    if cardinality(n_inode) > 0 then
        insert into inodes select p_project, * from unnest(n_inode, n_since, n_node)
        on conflict (project, inode) do update set since = excluded.since, node = excluded.node;
    end if;
    if cardinality(dp_inode) > 0 then
        insert into dentries_past select p_project, * from unnest(dp_parent, dp_name, dp_inode, dp_since, dp_until);
    end if;
    if cardinality(dg_parent) > 0 then
        delete from dentries d using unnest(dg_parent, dg_name) as k (parent, name)
        where d.project = p_project and d.parent = k.parent and d.name = k.name;
    end if;
    if cardinality(d_parent) > 0 then
        insert into dentries select p_project, * from unnest(d_parent, d_name, d_inode, d_since)
        on conflict (project, parent, name) do update set inode = excluded.inode, since = excluded.since;
    end if;
    if cardinality(cg_inode) > 0 then
        with gone as (
            delete from content_chunks c using unnest(cg_inode, cg_index, cg_until) as k (inode, index, until)
            where c.project = p_project and c.inode = k.inode and c.index = k.index
            returning c.project, c.inode, c.index, c.hash, c.size_bytes, c.since, k.until
        ) insert into content_chunks_past select * from gone;
    end if;
    if cardinality(ct_inode) > 0 then
        with gone as (
            delete from content_chunks c using unnest(ct_inode, ct_first, ct_end, ct_until) as k (inode, first, stop, until)
            where c.project = p_project and c.inode = k.inode and c.index >= k.first and c.index < k.stop
            returning c.project, c.inode, c.index, c.hash, c.size_bytes, c.since, k.until
        ) insert into content_chunks_past select * from gone;
    end if;
    if cardinality(c_inode) > 0 then
        insert into content_chunks select p_project, * from unnest(c_inode, c_index, c_hash, c_size, c_since);
    end if;
    if cardinality(cp_inode) > 0 then
        insert into content_chunks_past select p_project, * from unnest(cp_inode, cp_index, cp_hash, cp_size, cp_since, cp_until);
    end if;
    if cardinality(a_inode) > 0 then
        insert into aliases select p_project, * from unnest(a_inode, a_target, a_since)
        on conflict (project, inode) do update set target = excluded.target, since = excluded.since;
    end if;
    return 'ok';
end $$;
