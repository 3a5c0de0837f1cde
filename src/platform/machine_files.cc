// SPDX-License-Identifier: Apache-2.0
#include "platform/machine_files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace remora::platform {

namespace fs = std::filesystem;

std::optional<std::string> MachineFiles::read(const std::string& path, std::size_t limit) const {
    const fs::path whole = root_ + path;
    std::error_code trouble;
    if (!fs::is_regular_file(whole, trouble)) {
        return std::nullopt;  // opening a pipe would wait for its other end
    }
    std::ifstream in(whole, std::ios::binary);
    if (!in) {
        return std::nullopt;
    }
    // The size that the kernel shows for such files says nothing: it is found by reading.
    std::string content(limit + 1, '\0');
    in.read(content.data(), static_cast<std::streamsize>(content.size()));
    const auto got = static_cast<std::size_t>(in.gcount());
    if (in.bad() || got > limit) {
        return std::nullopt;
    }
    content.resize(got);
    return content;
}

std::string MachineFiles::link_name(const std::string& path) const {
    std::error_code trouble;
    const fs::path target = fs::read_symlink(root_ + path, trouble);
    return trouble ? std::string() : target.filename().string();
}

std::optional<std::vector<std::string>> MachineFiles::list(const std::string& path,
                                                           std::size_t limit) const {
    std::error_code trouble;
    std::vector<std::string> names;
    fs::directory_iterator at(root_ + path, trouble);
    for (; !trouble && at != fs::directory_iterator(); at.increment(trouble)) {
        if (names.size() == limit) {
            return std::nullopt;
        }
        names.push_back(at->path().filename().string());
    }
    if (trouble) {
        return std::nullopt;
    }
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace remora::platform
