// SPDX-License-Identifier: Apache-2.0
// ScratchFolder: a folder of a test's own, in which it lays out files; gone with its owner.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace remora::test {

class ScratchFolder {
  public:
    ScratchFolder() {
        std::string name = (std::filesystem::temp_directory_path() / "remora-XXXXXX").string();
        if (mkdtemp(name.data()) == nullptr) {
            std::abort();
        }
        path_ = name;
    }
    ScratchFolder(const ScratchFolder&) = delete;
    ScratchFolder& operator=(const ScratchFolder&) = delete;
    ~ScratchFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    [[nodiscard]] const std::string& path() const { return path_; }
    /// `name` begins with '/'; folders above it are made.
    void file(const std::string& name, const std::string& content) const {
        folder_of(name);
        std::ofstream(path_ + name, std::ios::binary) << content;
    }
    void link(const std::string& name, const std::string& target) const {
        folder_of(name);
        std::filesystem::create_symlink(target, path_ + name);
    }

  private:
    void folder_of(const std::string& name) const {
        std::filesystem::create_directories(std::filesystem::path(path_ + name).parent_path());
    }

    std::string path_;
};

}  // namespace remora::test
