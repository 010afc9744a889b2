/* SPDX-License-Identifier: MIT */
typedef int pq_placeholder_convert;
