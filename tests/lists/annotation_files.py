"""A tiny file of every format that lists videos, written from what its publishers say of it.

Each function fills a folder and gives what `read_*` is called with; the videos are empty files, as
reading a list opens none.
"""

import json

import numpy as np


def touch(root, *names):
    """Makes empty files."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


# Rows that name a.mp4, b.mp4 of class 1 and c.mp4 of class 0, as each project writes them.
PATH_LABEL_LISTS = {
    "pyslowfast": "a.mp4 1\nb.mp4 1\nc.mp4 0\n",
    "mmaction2": "a.mp4 1\nb.mp4 1\nc.mp4 0",
    "gluoncv": "a 300 1\nb 250 1\nc 300 0\n",
    "comma": "a.mp4,1\nb.mp4,1\nc.mp4,0\n",
    "comma_header": "path,label\na.mp4,1\nb.mp4,1\nc.mp4,0\n",
    "comma_columns_in_other_order": "label,Path,fps\n1,a.mp4,25\n1,b.mp4,25\n0,c.mp4,25\n",
    "comma_columns_alike": "name,path,class_name,label\nx,a.mp4,u,1\nx,b.mp4,u,1\ny,c.mp4,v,0\n",
    "comma_quoted": '"a.mp4","1"\n"b.mp4","1"\n"c.mp4","0"\n',
    "comma_spaces": "a.mp4, 1\nb.mp4, 1\nc.mp4, 0\n",
    "pandas_index": ",path,label\n0,a.mp4,1\n1,b.mp4,1\n2,c.mp4,0\n",
    "excel": '\ufeffpath;label\r\n"a.mp4";1\r\n;\r\nb.mp4;1\r\nc.mp4;0\r\n;\r\n',
    "backslashes": "sub\\..\\a.mp4,1\n.\\b.mp4,1\nc.mp4,0\n",
    "semicolon": "a.mp4;1\nb.mp4;1\nc.mp4;0\n",
    "tab": "a.mp4\t1\nb.mp4\t1\nc.mp4\t0\n",
    "tab_header": "video\tclass\na.mp4\t1\nb.mp4\t1\nc.mp4\t0\n",
    "space_header": "path label\na.mp4 1\nb.mp4 1\nc.mp4 0\n",
    "windows": "\ufeffa.mp4 1\r\nb.mp4 1\r\nc.mp4 0\r\n",
    "windows_header": "\ufeffpath,label\r\na.mp4,1\r\nb.mp4,1\r\nc.mp4,0\r\n",
    "blank_lines_and_comments": "# two classes\n\na.mp4 1\n#\nb.mp4 1\n   \nc.mp4 0\n\n",
    "odd_spaces": "  a.mp4   1 \nb.mp4\x201\nc.mp4  0\n",
    "dots_in_paths": "./a.mp4 1\nsub/../b.mp4 1\nc.mp4 0\n",
}


def frames(root, *names):
    """Makes folders of two frames each."""
    for name in names:
        touch(root, f"{name}/img_00001.jpg", f"{name}/img_00002.jpg")
    return root


def kinetics(root):
    """Columns of the CSV of Kinetics-400; two ways to call a file, and three places for it."""
    touch(
        root,
        "videos/air drumming/-AbC_000059_000069.mp4",
        "videos/riding_a_bike/Zz9__000000_000010.mkv",
        "videos/val/onlyid.webm",
    )
    text = (
        "label,youtube_id,time_start,time_end,split,is_cc\n"
        '"riding a bike",Zz9_,0,10,val,0\n'
        "air drumming,-AbC,59,69,val,0\n"
        "abseiling,onlyid,104,114,val,1\n"
    )
    return write(root / "validate.csv", text), root / "videos"


def ucf101(root):
    """Rows with a number from 1 (training) or without (testing); line ends of Windows."""
    names = ("ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01", "BenchPress/v_BenchPress_g01_c02")
    touch(root, *(f"UCF-101/{name}.avi" for name in names))
    lists = root / "ucfTrainTestlist"
    write(lists / "classInd.txt", "1 ApplyEyeMakeup\r\n2 Archery\r\n3 BenchPress\r\n")
    write(lists / "trainlist01.txt", f"{names[0]}.avi 1\r\n{names[1]}.avi 3\r\n")
    write(lists / "testlist01.txt", f"{names[1]}.avi\r\n{names[0]}.avi\r\n")
    return lists, root / "UCF-101"


def hmdb51(root):
    """A file a class and split; a space ends each row, and names hold what names should not."""
    touch(
        root,
        "hmdb51/brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi",
        "hmdb51/brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_1.avi",
        "hmdb51/walk/#122_Cleaning_Up_walk_f_nm_np1_fr_med_0.avi",
    )
    splits = root / "splits"
    write(
        splits / "brush_hair_test_split1.txt",
        "April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1 \n"
        "April_09_brush_hair_u_nm_np1_ba_goo_1.avi 2 \n"
        "April_09_brush_hair_u_nm_np1_ba_goo_2.avi 0 \n",
    )
    write(splits / "brush_hair_test_split2.txt", "April_09_brush_hair_u_nm_np1_ba_goo_1.avi 1 \n")
    write(splits / "walk_test_split1.txt", "#122_Cleaning_Up_walk_f_nm_np1_fr_med_0.avi 1 \n")
    return splits, root / "hmdb51"


def something_something(root):
    """Templates have brackets where the file of labels has none; numbers are texts."""
    touch(root, "videos/78687.webm")
    frames(root, "videos/42326")
    labels = {"Pushing something so that it spins": "1", "Holding something": "0"}
    entries = [
        {
            "id": "78687",
            "label": "holding a potato",
            "template": "Holding [something]",
            "placeholders": ["a potato"],
        },
        {
            "id": "42326",
            "label": "pushing a cup so that it spins",
            "template": "Pushing [something] so that [it] spins",
            "placeholders": ["a cup"],
        },
    ]
    write(root / "something-something-v2-labels.json", json.dumps(labels, indent=1))
    return write(root / "something-something-v2-train.json", json.dumps(entries)), root / "videos"


CHARADES_COLUMNS = (
    "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length"
)


def charades(root):
    """Scripts hold commas and quotes; a video may show nothing; a file names all classes."""
    touch(root, "Charades_v1/46GP8.mp4", "Charades_v1/N11GT.mp4")
    text = (
        f"{CHARADES_COLUMNS}\n"
        '46GP8,HR43,Kitchen,6,7,Yes,"A person says ""soup"", and cooks.",food;stove,Cooking;soup,'
        "c092 11.90 21.20;c147 0.00 12.60;c092 25.00 30.00,32.50\n"
        "N11GT,0KZ7,Hallway,5,6,No,Somebody stands.,,,,18.00\n"
    )
    names = "".join(f"c{number:03d} Doing thing {number}\n" for number in range(157))
    write(root / "Charades_v1_classes.txt", names)
    return write(root / "Charades_v1_train.csv", text), root / "Charades_v1"


def frame_list(root):
    """PySlowFast's rows of frames: labels in quotes, none or several."""
    frames(root, "AO8RW", "YSKX3")
    text = (
        "original_vido_id video_id frame_id path labels\n"
        'AO8RW 0 0 AO8RW/AO8RW-000001.jpg ""\n'
        'AO8RW 0 1 AO8RW/AO8RW-000002.jpg "1"\n'
        'AO8RW 0 2 AO8RW/AO8RW-000003.jpg "1,3"\n'
        'YSKX3 1 0 YSKX3/YSKX3-000001.jpg "0"\n'
    )
    return write(root / "train.csv", text)


def one_hot(*rows, classes):
    """Zeros and ones of rows of class numbers."""
    return np.stack([np.isin(np.arange(classes), row) for row in rows]).astype(int).tolist()
