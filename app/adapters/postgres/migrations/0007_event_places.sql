-- Where to look for a path or an agent: for spans of the log, the CRC-32 of every path, folder and agent in them. An index
-- entry an event, on long and scattered keys, cost more than the event. What the last span lacks is with the head.
drop index file_events_path;
drop index file_events_agent;
create table file_event_places (
    project integer not null,
    first bigint not null,
    last bigint not null,
    places integer[],
    primary key (project, first)
);
alter table file_event_places alter column places set storage external;
-- places null: anything may be there
insert into file_event_places select project, 1, position, null from log_heads where log = 'files' and position > 0;
alter table log_heads add column places integer[] not null default '{}';
alter table log_heads add column places_from bigint not null default 1;
update log_heads set places_from = position + 1 where log = 'files';

do $$
declare old regprocedure;
begin
    for old in select oid::regprocedure from pg_proc where pronamespace = 'public'::regnamespace and proname = 'append_files' loop
        execute 'drop function ' || old;
    end loop;
end $$;
drop type if exists appended;
create type appended as (status text, head bigint, previous bytea, hashes bytea[]);

-- Append a batch that was folded on the tree rows w_ and names v_, as they were known when the log stood at p_base.
-- Under the lock: those rows must still be what they were ('stale'), the batch must follow its incarnation ('sequence');
-- positions, time and hashes are given here, `since` and `until` above p_base move with the head.
-- 'missing': a chunk of p_chunks is not stored. 'ok', or 'checked' where others had appended since p_base; else nothing is
-- appended. p_hash is the hash at p_base if w_ and v_ are all of that head: then a head that did not move needs no checking.
create function append_files(
    p_project integer, p_base bigint, p_hash bytea, p_incarnation bigint, p_first bigint, p_task text, p_last_inode bigint,
    p_front bytea, p_places integer[], p_chunks bytea[],
    k_hash bytea[], k_size bigint[], k_encoding text[], k_data bytea[],
    w_inode bigint[], w_since bigint[], v_parent bigint[], v_name bytea[], v_since bigint[],
    x_kind text[], x_agent text[], x_session text[], x_tool text[], x_decision text[], x_middle bytea[],
    e_at bigint[], e_inode bigint[], e_context bigint[], e_path bytea[], e_outcome bytea[], e_payload bytea[], e_digest bytea[],
    e_back bytea[],
    nn_inode bigint[], nn_since bigint[], nn_node bytea[], n_inode bigint[], n_since bigint[], n_node bytea[], ng_inode bigint[],
    np_inode bigint[], np_since bigint[], np_until bigint[], np_node bytea[],
    dn_parent bigint[], dn_name bytea[], dn_inode bigint[], dn_since bigint[],
    d_parent bigint[], d_name bytea[], d_inode bigint[], d_since bigint[], dg_parent bigint[], dg_name bytea[],
    dp_parent bigint[], dp_name bytea[], dp_inode bigint[], dp_since bigint[], dp_until bigint[],
    cg_inode bigint[], cg_index bigint[], cg_until bigint[], ct_inode bigint[], ct_first bigint[], ct_end bigint[], ct_until bigint[],
    c_inode bigint[], c_index bigint[], c_hash bytea[], c_size bigint[], c_since bigint[],
    cp_inode bigint[], cp_index bigint[], cp_hash bytea[], cp_size bigint[], cp_since bigint[], cp_until bigint[],
    a_inode bigint[], a_target bigint[], a_since bigint[]
) returns appended language plpgsql as $$
declare
    n integer := cardinality(e_at);
    status text;
    head bigint;
    previous bytea;
    hashes bytea[];
    lock text;
    clock bigint;
    held integer[];
    held_from bigint;
    link bytea;
    step bigint;
    back bytea;
    at bytea;
begin
    if k_hash is not null then
        insert into chunks (project, hash, size_bytes, encoding, data)
        select p_project, k_hash[i], k_size[i], k_encoding[i], k_data[i] from generate_series(1, cardinality(k_hash)) as i order by 2
        on conflict on constraint chunks_pkey do nothing;
    end if;
    if p_chunks is not null and cardinality(missing_chunks(p_project, p_chunks)) > 0 then
        return row('missing', null, null, null)::appended;
    end if;
    lock := pg_advisory_xact_lock(p_project, 1);
    select l.position, l.hash, greatest(l.recorded_at_us + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint),
        l.places || p_places, l.places_from into head, link, clock, held, held_from from log_heads l where l.project = p_project and l.log = 'files';
    step := head - p_base;
    previous := link;
    status := 'ok';
    if p_hash is null or p_hash <> link or step <> 0 then
        perform 1 from generate_series(1, cardinality(w_inode)) as i where w_since[i] <> coalesce(
            (select t.since from inodes t where t.project = p_project and t.inode = w_inode[i]), case when w_inode[i] = 1 then 0 else -1 end
        ) or w_since[i] < 0 and (select t.since from aliases t where t.project = p_project and t.inode = w_inode[i]) is not null;
        if not found then
            perform 1 from generate_series(1, cardinality(v_parent)) as i where v_since[i] is distinct from (
                select t.since from dentries t where t.project = p_project and t.parent = v_parent[i] and t.name = v_name[i]
            );
        end if;
        if found then
            return row('stale', null, null, null)::appended;
        end if;
        status := 'checked';
    end if;
    update incarnations set last_sequence = p_first + n - 1, last_inode = greatest(last_inode, p_last_inode)
        where project = p_project and incarnation = p_incarnation and last_sequence = p_first - 1;
    if not found then
        return row('sequence', null, null, null)::appended;
    end if;
    at := packed_number(clock);
    hashes := e_digest;
    n := 0;
    foreach back in array e_back loop
        n := n + 1;
        link := sha256(link || p_front || packed_number(head + n) || x_middle[e_context[n]] || at || back);
        hashes[n] := link;
    end loop;
    if cardinality(held) > 320 then
        insert into file_event_places values (p_project, held_from, head + n, array(select distinct unnest(held)));
        held := '{}';
        held_from := head + n + 1;
    end if;
    update log_heads set position = head + n, hash = link, recorded_at_us = clock, places = held, places_from = held_from
        where project = p_project and log = 'files';
    insert into file_events
    select p_project, head + i, p_incarnation, p_first + i - 1, clock, e_at[i], e_inode[i], x_kind[e_context[i]], x_agent[e_context[i]],
        x_session[e_context[i]], x_tool[e_context[i]], x_decision[e_context[i]], p_task, e_path[i], nullif(e_outcome[i], ''::bytea),
        e_payload[i], e_digest[i], hashes[i]
    from generate_series(1, n) as i;
    if np_inode is not null then
        insert into inodes_past select p_project, np_inode[i], np_since[i], np_until[i] + step, np_node[i]
        from generate_series(1, cardinality(np_inode)) as i;
    end if;
    if ng_inode is not null then
        delete from inodes where project = p_project and inode = any(ng_inode);
    end if;
    if n_inode is not null then
        insert into inodes select p_project, n_inode[i], n_since[i] + step, n_node[i]
        from generate_series(1, cardinality(n_inode)) as i
        on conflict on constraint inodes_pkey do update set since = excluded.since, node = excluded.node;
    end if;
    if nn_inode is not null then
        insert into inodes select p_project, nn_inode[i], nn_since[i] + step, nn_node[i]
        from generate_series(1, cardinality(nn_inode)) as i;
    end if;
    if dp_inode is not null then
        insert into dentries_past select p_project, dp_parent[i], dp_name[i], dp_inode[i], dp_since[i], dp_until[i] + step
        from generate_series(1, cardinality(dp_inode)) as i;
    end if;
    if dg_parent is not null then
        delete from dentries where ctid = any(array(
            select t.ctid from unnest(dg_parent, dg_name) as k (parent, name) cross join lateral (
                select d.ctid from dentries d where d.project = p_project and d.parent = k.parent and d.name = k.name offset 0
            ) t
        ));
    end if;
    if d_parent is not null then
        insert into dentries select p_project, d_parent[i], d_name[i], d_inode[i], d_since[i] + step
        from generate_series(1, cardinality(d_parent)) as i
        on conflict on constraint dentries_pkey do update set inode = excluded.inode, since = excluded.since;
    end if;
    if dn_parent is not null then
        insert into dentries select p_project, dn_parent[i], dn_name[i], dn_inode[i], dn_since[i] + step
        from generate_series(1, cardinality(dn_parent)) as i;
    end if;
    if cg_inode is not null then
        with gone as (
            select t.*, k.until + step as until from unnest(cg_inode, cg_index, cg_until) as k (inode, index, until) cross join lateral (
                select c.ctid as place, c.* from content_chunks c
                where c.project = p_project and c.inode = k.inode and c.index = k.index offset 0
            ) t
        ), kept as (
            insert into content_chunks_past select project, inode, index, hash, size_bytes, since, until from gone
        ) delete from content_chunks where ctid = any(array(select place from gone));
    end if;
    if ct_inode is not null then
        with gone as (
            select t.*, k.until + step as until
            from unnest(ct_inode, ct_first, ct_end, ct_until) as k (inode, first, stop, until) cross join lateral (
                select c.ctid as place, c.* from content_chunks c
                where c.project = p_project and c.inode = k.inode and c.index >= k.first and c.index < k.stop offset 0
            ) t
        ), kept as (
            insert into content_chunks_past select project, inode, index, hash, size_bytes, since, until from gone
        ) delete from content_chunks where ctid = any(array(select place from gone));
    end if;
    if c_inode is not null then
        insert into content_chunks select p_project, c_inode[i], c_index[i], c_hash[i], c_size[i], c_since[i] + step
        from generate_series(1, cardinality(c_inode)) as i;
    end if;
    if cp_inode is not null then
        insert into content_chunks_past select p_project, cp_inode[i], cp_index[i], cp_hash[i], cp_size[i], cp_since[i] + step, cp_until[i] + step
        from generate_series(1, cardinality(cp_inode)) as i;
    end if;
    if a_inode is not null then
        insert into aliases select p_project, a_inode[i], a_target[i], a_since[i] + step
        from generate_series(1, cardinality(a_inode)) as i
        on conflict on constraint aliases_pkey do update set target = excluded.target, since = excluded.since;
    end if;
    return row(status, head, previous, hashes)::appended;
end $$;
