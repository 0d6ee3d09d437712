// What can be asked of the kernel about an nft table for the price of some system calls, without nft.
//
// Asked now and then, not told: a listener to nf_tables' multicasts makes the kernel write a message for
// every rule that anybody changes, and hold them all until the transaction ends, 4 KB each; kube-proxy's have
// tens of thousands.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace weft::io {

// Of the table of family inet and those of its chains: which life they are in, and how many rules they have,
// as text that is another when one of them was removed, made again or flushed. Empty: there is no such table.
// In the calling thread's namespace. Error: nft-ask.
Result<std::string> nft_table_mark(const std::string& table, const std::vector<std::string>& chains);

}  // namespace weft::io
