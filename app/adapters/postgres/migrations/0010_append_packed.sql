-- Appending with few arguments and few executor starts (the functions are in the next file).
do $$
declare old regprocedure;
begin
    for old in select oid::regprocedure from pg_proc where pronamespace = 'public'::regnamespace
        and proname in ('append_files', 'append_files_early') loop
        execute 'drop routine ' || old;
    end loop;
end $$;
drop type if exists appended;

-- The first event of an append says how many follow each other from it on, in sequence and in position; the others have null.
-- An event is found by its sequence over the one that began its append: one index entry an append, not one an event.
alter table file_events add column appended integer default 1;
alter table file_events alter column appended drop default;
alter table file_events drop constraint file_events_project_incarnation_sequence_key;
create unique index file_events_begun on file_events (project, incarnation, sequence) where appended is not null;

-- How far an incarnation came is told by its last append; what it made, by the tree.
alter table incarnations drop column last_sequence, drop column last_inode;
drop function if exists open_files(integer, bigint), packed_number(bigint);
