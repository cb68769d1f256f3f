/*
 * list.h - intrusive doubly linked circular list.
 *
 * A node is embedded in its object; LIST_OBJECT goes back from node to object.
 * An unlinked node points to itself, so list_remove is always legal and a second
 * one does nothing.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_node {
    struct list_node *next;
    struct list_node *prev;
};

#define LIST_OBJECT(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

#define LIST_FOREACH(at, list) \
    for (struct list_node *at = (list)->next; at != (list); at = at->next)
/* The same where the body may remove `at`. */
#define LIST_FOREACH_SAFE(at, list)                                                      \
    for (struct list_node *at = (list)->next, *at##_next = at->next; at != (list);       \
         at = at##_next, at##_next = at->next)

static inline void list_init(struct list_node *node)
{
    node->next = node;
    node->prev = node;
}

static inline bool list_is_empty(const struct list_node *list)
{
    return list->next == list;
}

static inline void list_push_back(struct list_node *list, struct list_node *node)
{
    node->prev = list->prev;
    node->next = list;
    list->prev->next = node;
    list->prev = node;
}

static inline void list_push_front(struct list_node *list, struct list_node *node)
{
    list_push_back(list->next, node); /* before the first */
}

/* All nodes of `from`, in their order; `to` is initialised, `from` is empty after. */
static inline void list_move(struct list_node *from, struct list_node *to)
{
    list_init(to);
    if (list_is_empty(from))
        return;
    *to = *from;
    to->next->prev = to;
    to->prev->next = to;
    list_init(from);
}

static inline void list_remove(struct list_node *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

#endif
