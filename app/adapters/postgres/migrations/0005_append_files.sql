-- Every look-up by a list of keys is a lateral subquery that cannot be flattened (offset 0): one index look-up a key. As a join,
-- a planner without statistics took all rows of the project first and compared each with the list.

-- The rows that a batch may touch: names asked for, nodes asked for, all their names, and all directories above.
create or replace function tree_rows(p_project integer, p_inodes bigint[], p_parents bigint[], p_names bytea[])
returns table (kind text, inode bigint, since bigint, parent bigint, name bytea, node bytea) language plpgsql stable as $$
begin
    return query
    with recursive asked as (
        select d.parent, d.name, d.inode, d.since
        from unnest(p_parents, p_names) as k (parent, name)
        cross join lateral (select * from dentries t where t.project = p_project and t.parent = k.parent and t.name = k.name offset 0) d
    ), above as (
        select d.parent, d.name, d.inode, d.since from unnest(p_inodes) as k (inode)
        cross join lateral (select * from dentries t where t.project = p_project and t.inode = k.inode offset 0) d
        union
        select d.parent, d.name, d.inode, d.since from (select distinct a.parent from above a) k
        cross join lateral (select * from dentries t where t.project = p_project and t.inode = k.parent offset 0) d
    ), names as (select * from asked union select * from above),
    wanted as (select n.inode from names n union select n.parent from names n union select unnest(p_inodes))
    select 'd', n.inode, n.since, n.parent, n.name, null::bytea from names n
    union all
    select 'n', i.inode, i.since, 0::bigint, null::bytea, i.node from wanted w
        cross join lateral (select * from inodes t where t.project = p_project and t.inode = w.inode offset 0) i
    union all
    select 'a', a.inode, a.since, a.target, null::bytea, null::bytea from wanted w
        cross join lateral (select * from aliases t where t.project = p_project and t.inode = w.inode offset 0) a;
end $$;

-- Those of p_hashes that are not stored.
create or replace function missing_chunks(p_project integer, p_hashes bytea[]) returns bytea[] language sql stable as $$
    select coalesce(array_agg(k.h), '{}') from unnest(p_hashes) as k (h)
    where (select c.hash from chunks c where c.project = p_project and c.hash = k.h and c.data is not null) is null;
$$;

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
        delete from inodes where project = p_project and inode = any(n_gone);
    end if;
    if cardinality(n_inode) > 0 then
        insert into inodes select p_project, * from unnest(n_inode, n_since, n_node)
        on conflict (project, inode) do update set since = excluded.since, node = excluded.node;
    end if;
    if cardinality(dp_inode) > 0 then
        insert into dentries_past select p_project, * from unnest(dp_parent, dp_name, dp_inode, dp_since, dp_until);
    end if;
    if cardinality(dg_parent) > 0 then
        delete from dentries where ctid = any(array(
            select t.ctid from unnest(dg_parent, dg_name) as k (parent, name) cross join lateral (
                select d.ctid from dentries d where d.project = p_project and d.parent = k.parent and d.name = k.name offset 0
            ) t
        ));
    end if;
    if cardinality(d_parent) > 0 then
        insert into dentries select p_project, * from unnest(d_parent, d_name, d_inode, d_since)
        on conflict (project, parent, name) do update set inode = excluded.inode, since = excluded.since;
    end if;
    if cardinality(cg_inode) > 0 then
        with gone as (
            select t.*, k.until from unnest(cg_inode, cg_index, cg_until) as k (inode, index, until) cross join lateral (
                select c.ctid as place, c.* from content_chunks c
                where c.project = p_project and c.inode = k.inode and c.index = k.index offset 0
            ) t
        ), kept as (
            insert into content_chunks_past select project, inode, index, hash, size_bytes, since, until from gone
        ) delete from content_chunks where ctid = any(array(select place from gone));
    end if;
    if cardinality(ct_inode) > 0 then
        with gone as (
            select t.*, k.until
            from unnest(ct_inode, ct_first, ct_end, ct_until) as k (inode, first, stop, until) cross join lateral (
                select c.ctid as place, c.* from content_chunks c
                where c.project = p_project and c.inode = k.inode and c.index >= k.first and c.index < k.stop offset 0
            ) t
        ), kept as (
            insert into content_chunks_past select project, inode, index, hash, size_bytes, since, until from gone
        ) delete from content_chunks where ctid = any(array(select place from gone));
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
