-- Appending to the files log when others append too. Functions that run in each append are plpgsql: those in SQL are
-- parsed and planned at every call. An absent array is null: it costs nothing to send and nothing to open.
do $$
declare old regprocedure;
begin
    for old in select oid::regprocedure from pg_proc where pronamespace = 'public'::regnamespace
        and proname in ('append_files', 'open_files', 'put_chunks', 'missing_chunks') loop
        execute 'drop function ' || old;
    end loop;
end $$;

-- The whole history of a tree is read by project, newest first: no key into the past is needed, a rough place is.
drop index inodes_past_since;
drop index dentries_past_since;
create index inodes_past_until on inodes_past using brin (until) with (pages_per_range = 32, autosummarize = on);
create index dentries_past_until on dentries_past using brin (until) with (pages_per_range = 32, autosummarize = on);

-- Store chunks that are not there yet.
create function put_chunks(p_project integer, p_hashes bytea[], p_sizes bigint[], p_encodings text[], p_data bytea[])
returns void language plpgsql as $$
begin
    insert into chunks (project, hash, size_bytes, encoding, data)
    select p_project, h, s, e, d from unnest(p_hashes, p_sizes, p_encodings, p_data) as k (h, s, e, d) order by h
    on conflict on constraint chunks_pkey do nothing;
end $$;

-- Those of p_hashes that are not stored.
create function missing_chunks(p_project integer, p_hashes bytea[]) returns bytea[] language plpgsql stable as $$
begin
    return array(select k.h from unnest(p_hashes) as k (h) where (
        select c.hash from chunks c where c.project = p_project and c.hash = k.h and c.data is not null
    ) is null);
end $$;
